import { serve } from "silkcodec/worker";
import { fetchStored } from "./model-store";

serve({ fetch: fetchStored });
