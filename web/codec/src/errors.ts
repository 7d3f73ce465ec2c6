/** An error that is caused by an argument or by the input. */
export class SilkError extends Error {
  override name = "SilkError";
}
