/** What other layers use of dev-s3. */
export {
  DEFAULT_CREDENTIALS,
  type DevCredentials,
  type Policy,
  type PolicyQuestion,
} from "./auth/credentials.ts";
export { SyntheticContent, syntheticBytes } from "./backing/synthetic.ts";
export type { Fault, FaultRule } from "./faults.ts";
export { startDevS3, type DevS3, type DevS3Options } from "./server.ts";
export type { DevS3Stats, RequestRecord } from "./stats.ts";
