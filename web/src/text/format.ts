/** Format numbers for the page. */
export const whole = (value: number): string => Math.round(value).toLocaleString("en");
export const fixed = (value: number, digits = 1): string => value.toFixed(digits).replace("-", "−");
export const grouped = (value: number): string => value.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
export const percent = (share: number, digits = 0): string => `${(100 * share).toFixed(digits)}\u00a0%`;
/** Round to two significant digits. */
export const rounded = (value: number): number => Number(value.toPrecision(2));
export const hertz = (hz: number): string => (hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`);
export const signed = (value: number, digits = 1): string => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
