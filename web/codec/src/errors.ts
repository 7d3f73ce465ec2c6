/** An error that the caller or the input causes. The message states the requirement, the value and the remedy. */
export class SilkError extends Error {
  override name = "SilkError";
}
