/**
 * Notices: what EC2 tells a machine about its own end, by the instance metadata service (version 2).
 *
 * A spot instance is told two minutes before it is taken away, or warned that this may come; and whoever cleans up after
 * a launcher that is gone asks by a tag, because nobody has the key to log in any more.
 */
import type { Milliseconds } from "../../common/units.ts";
import { END_TAG, TAG } from "../ec2/tags.ts";

const ENDPOINT = "http://169.254.169.254";
const TOKEN_SECONDS = 6 * 3600;
/** It answers in a millisecond, or not at all. */
const ANSWER_MS: Milliseconds = 1000;

export interface EndNotice {
  /** As a clause: `the spot instance is taken away at …`. */
  why: string;
  /** The machine is ended by EC2; else it is to end itself. */
  taken: boolean;
  /** EC2 wants the machine alone: the pool may go on with another one. */
  wantsMachine: boolean;
}

export class InstanceNotices {
  private readonly endpoint: string;
  private token: string | undefined;

  constructor(environment: NodeJS.ProcessEnv = process.env) {
    this.endpoint = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] ?? ENDPOINT;
  }

  /** What is said right now; nothing where nobody answers. */
  async look(): Promise<EndNotice | undefined> {
    try {
      const [action, rebalance, asked] = await Promise.all([
        this.get("spot/instance-action"),
        this.get("events/recommendations/rebalance"),
        this.get(`tags/instance/${END_TAG}`),
      ]);
      if (action !== undefined)
        return { why: `the spot instance is taken away${timeIn(action)}`, taken: true, wantsMachine: true };
      if (rebalance !== undefined)
        return { why: "the spot instance is likely to be taken away soon", taken: false, wantsMachine: true };
      if (asked !== undefined) return { why: "the pool is cleaned up", taken: false, wantsMachine: false };
    } catch {
      // The service has its pauses; the next look is two seconds away.
      this.token = undefined;
    }
    return undefined;
  }

  /**
   * When the instance is to end, as its tag has it: `never` or a time.
   *
   * @returns `null` where the service does not show tags, `undefined` where it does not answer
   */
  async expiry(): Promise<string | null | undefined> {
    try {
      return (await this.get(`tags/instance/${TAG.expires}`)) ?? null;
    } catch {
      this.token = undefined;
      return undefined;
    }
  }

  /** @returns `undefined` for what is not there */
  private async get(path: string): Promise<string | undefined> {
    this.token ??= await this.newToken();
    const answer = await fetch(`${this.endpoint}/latest/meta-data/${path}`, {
      headers: { "x-aws-ec2-metadata-token": this.token },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const text = await answer.text();
    if (answer.status === 404) return undefined;
    if (!answer.ok) throw new Error(`The metadata service answered ${answer.status}.`);
    return text;
  }

  private async newToken(): Promise<string> {
    const answer = await fetch(`${this.endpoint}/latest/api/token`, {
      method: "PUT",
      headers: { "x-aws-ec2-metadata-token-ttl-seconds": String(TOKEN_SECONDS) },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`The metadata service answered ${answer.status}.`);
    return text;
  }
}

/** ` at 2026-01-02T03:04:05Z`, of `{"action": "terminate", "time": "…"}`. */
function timeIn(action: string): string {
  try {
    const { time } = JSON.parse(action) as { time?: unknown };
    return typeof time === "string" ? ` at ${time}` : "";
  } catch {
    return "";
  }
}
