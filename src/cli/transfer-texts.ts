/** What `--in` and `--out` say, of `hawser run` and of pools: two places with a colon between them. */
import { HawserError } from "../common/errors.ts";

export interface FromTo {
  from: string;
  to: string;
}

/** `s3://bucket/prefix:./data`: the last colon parts them. @throws HawserError `invalid_argument` */
export function parseInput(text: string): FromTo {
  const match = /^(s3:\/\/[^/:]+(?:\/.*)?):([^:]+)$/is.exec(text);
  if (match) return { from: match[1]!, to: match[2]! };
  throw new HawserError(
    "invalid_argument",
    `--in: '${text}' is not s3://BUCKET/PREFIX:PATH, as s3://my-data/train:./data.`,
  );
}

/** `./out:s3://bucket/prefix`. @throws HawserError `invalid_argument` */
export function parseOutput(text: string): FromTo {
  const at = text.search(/:s3:\/\//i);
  if (at > 0) return { from: text.slice(0, at), to: text.slice(at + 1) };
  throw new HawserError(
    "invalid_argument",
    `--out: '${text}' is not PATH:s3://BUCKET/PREFIX, as ./out:s3://my-runs/42.`,
  );
}
