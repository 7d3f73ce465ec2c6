/** An error that is caused by an argument or by the input. */
export class SilkError extends Error {
  override name: string = "SilkError";
}

/** A file could not be downloaded. A later attempt can succeed. */
export class DownloadError extends SilkError {
  override name = "DownloadError";
}
