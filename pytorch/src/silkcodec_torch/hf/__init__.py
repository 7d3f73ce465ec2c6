"""Provide Hugging Face `transformers` classes for Silk ([hf] extra).

import silkcodec_torch.hf                            # registers the classes below with the Auto classes
from transformers import AutoFeatureExtractor, AutoModel, AutoTokenizer

extractor = AutoFeatureExtractor.from_pretrained(folder)
model = AutoModel.from_pretrained(folder)            # written by `silk export --format transformers`
inputs = extractor(waves, sampling_rate=24_000, return_tensors="pt")
found = model.encode(**inputs)                       # audio_codes [B, 19, F], n_samples [B]
waves = model.decode(found.audio_codes, found.n_samples).audio_values

configuration.py        SilkConfig: the network sizes and the codec id of the tokens
modeling.py             SilkModel: the network of silkcodec_torch.nn, with encode and decode
feature_extraction.py   SilkFeatureExtractor: audio -> input_values, padding_mask
tokenization.py         SilkTokenizer: '<|silk/2:3:17|>...' <-> ids
conversion.py           converts a weights folder to a folder for the Hugging Face Hub
"""

from silkcodec.errors import MissingExtraError

try:
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoTokenizer

    from silkcodec_torch.hf.configuration import SilkConfig
    from silkcodec_torch.hf.feature_extraction import SilkFeatureExtractor
    from silkcodec_torch.hf.modeling import SilkModel
    from silkcodec_torch.hf.tokenization import SilkTokenizer
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("silkcodec"):
        raise
    raise MissingExtraError("silkcodec_torch.hf", error.name, "hf", "silkcodec-torch") from error

__all__ = ["SilkConfig", "SilkFeatureExtractor", "SilkModel", "SilkTokenizer"]

AutoConfig.register(SilkConfig.model_type, SilkConfig, exist_ok=True)
AutoModel.register(SilkConfig, SilkModel, exist_ok=True)
AutoFeatureExtractor.register(SilkConfig, SilkFeatureExtractor, exist_ok=True)
AutoTokenizer.register(SilkConfig, SilkTokenizer, exist_ok=True)
