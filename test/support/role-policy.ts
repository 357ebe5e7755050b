/** What an IAM policy of ours allows, for dev-s3: enough of IAM's language for the documents of ec2/policy.ts. */
import type { PolicyQuestion } from "../../src/devs3/index.ts";
import type { PolicyDocument } from "../../src/launch/ec2/policy.ts";

const list = (value: string | readonly string[]): readonly string[] =>
  typeof value === "string" ? [value] : value;

/** `*` stands for anything, `${*}` for itself. */
function matches(pattern: string, text: string): boolean {
  const source = pattern
    .split(/(\$\{.\}|\*|\?)/)
    .map((piece) => {
      if (piece === "*") return ".*";
      if (piece === "?") return ".";
      return (/^\$\{(.)\}$/.exec(piece)?.[1] ?? piece).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    })
    .join("");
  return new RegExp(`^${source}$`, "s").test(text);
}

const OF_BUCKETS = /^s3:(?:ListBucket|GetBucket)/;

/** @returns whether a role with this policy may do it */
export function allows(
  { Statement }: PolicyDocument,
  { action, bucket = "", key = "" }: PolicyQuestion,
): boolean {
  const ofBucket = OF_BUCKETS.test(action);
  const resource = `arn:aws:s3:::${bucket}${ofBucket ? "" : `/${key}`}`;
  return Statement.some(({ Action, Resource, Condition = {} }) => {
    if (!Action.some((pattern) => matches(pattern, action))) return false;
    if (!list(Resource).some((pattern) => matches(pattern, resource))) return false;
    return Object.entries(Condition).every(([operator, keys]) => {
      const prefixes = keys["s3:prefix"];
      if (operator !== "StringLike" || !prefixes) throw new Error(`A condition of another kind: ${operator}`);
      return list(prefixes).some((pattern) => matches(pattern, key));
    });
  });
}
