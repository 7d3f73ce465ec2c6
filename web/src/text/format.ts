/** Format numbers for the page. */
export const whole = (value: number): string => Math.round(value).toLocaleString("en");
export const fixed = (value: number, digits = 1): string => value.toFixed(digits).replace("-", "−");
export const grouped = (value: number): string => value.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
export const percent = (share: number, digits = 0): string => `${(100 * share).toFixed(digits)}\u00a0%`;
/** Round to two significant digits. */
export const rounded = (value: number): number => Number(value.toPrecision(2));
/** Return a frequency with its unit, rounded to three significant digits. */
export const hertz = (hz: number): string => {
  const shown = Number(hz.toPrecision(3));
  return shown < 1000 ? `${shown} Hz` : `${shown / 1000} kHz`;
};
/** Return an exponent as Unicode superscripts, which, unlike HTML, survive copying. */
export const superscript = (exponent: number): string => String(exponent).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
export const signed = (value: number, digits = 1): string => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
