/** The live model of the page. */

export { Cancelled, Model } from "silkcodec";
