/** `hawser s3 bucket`: encryption, versioning, public access and replication of a bucket. */
import type { SettingChanges } from "../../../transfer/bucket/settings.ts";
import { parseS3Address } from "../../../transfer/address.ts";
import type { Arguments, Command } from "../../command.ts";
import { EXIT } from "../../exit-codes.ts";
import { usageError } from "../../parse.ts";
import { openConnection } from "../../s3-connection.ts";
import { BUCKET_OPTIONS, bucketAddress } from "../../s3/arguments.ts";

const SET = "For set";

export const command: Command = {
  usage: ["show s3://BUCKET", "check s3://BUCKET", "set s3://BUCKET OPTIONS"],
  description:
    "Shows what protects a bucket's content; checks it, with exit code 1 when something is bad; or changes what the " +
    "options say and nothing else.",
  maxPositionals: 2,
  options: {
    ...BUCKET_OPTIONS,
    encryption: {
      type: "string",
      choices: ["AES256", "aws:kms"],
      describe: "How new objects are encrypted",
      group: SET,
    },
    "kms-key-id": { type: "string", value: "KEY", describe: "With --encryption aws:kms", group: SET },
    versioning: { type: "string", choices: ["on", "off"], describe: "Keep old versions", group: SET },
    "public-access": {
      type: "string",
      choices: ["blocked", "allowed"],
      describe: "Whether anything may be public",
      group: SET,
    },
    "replicate-to": {
      type: "string",
      value: "s3://BUCKET",
      describe: "Replicate new objects there",
      group: SET,
    },
    role: { type: "string", value: "ARN", describe: "Role by which S3 replicates", group: SET },
    "no-replication": { type: "boolean", describe: "End replication", group: SET },
  },
  examples: [
    ["s3 bucket show s3://bucket", "Its settings"],
    ["s3 bucket check s3://bucket", "What is wrong with them"],
    ["s3 bucket set s3://bucket --versioning on --public-access blocked", "Change two"],
    ["s3 bucket set s3://bucket --encryption aws:kms --kms-key-id alias/train", "Encrypt by a key"],
  ],
  async run(args, terminal) {
    const [action, place] = args.positionals;
    if (action !== "show" && action !== "check" && action !== "set")
      throw usageError("s3 bucket", "Say what to do: show, check or set");
    const { bucket } = bucketAddress("bucket", place);
    const changes = changesOf(args);
    const none = Object.values(changes).every((value) => value === undefined);
    if (action === "set" && none) throw usageError("s3 bucket", "Say what to set, e.g. --versioning on");
    if (action !== "set" && !none) throw usageError("s3 bucket", `'${action}' changes nothing; write 'set'`);
    const { checkSettings, getSettings, setSettings } = await import("../../../transfer/bucket/settings.ts");
    await using connection = openConnection(args);
    const store = await connection.store(bucket);
    if (action === "set") await setSettings(store, changes);
    const settings = await getSettings(store);
    const uri = `s3://${bucket}`;
    if (action !== "check") {
      if (args.flag("json")) terminal.out(JSON.stringify({ type: "bucket", uri, ...settings }));
      else {
        const { encryption, versioning, publicAccess, replication } = settings;
        const key = encryption?.kmsKeyId === undefined ? "" : ` (${encryption.kmsKeyId})`;
        const targets = replication?.map(({ bucket, enabled }) => `to ${bucket}${enabled ? "" : " (off)"}`);
        terminal.out(uri);
        terminal.out(`  Region         ${settings.region}`);
        terminal.out(`  Encryption     ${encryption ? `${encryption.algorithm}${key}` : "not told"}`);
        terminal.out(`  Versioning     ${versioning ?? "not told"}`);
        terminal.out(`  Public access  ${publicAccess?.replace("-", " ") ?? "not told"}`);
        terminal.out(`  Replication    ${targets ? targets.join(", ") || "none" : "not told"}`);
      }
      return;
    }
    const { getLifecycle } = await import("../../../transfer/bucket/lifecycle.ts");
    const rules = (await getLifecycle(store)).filter(({ Status }) => Status === "Enabled");
    const findings = checkSettings(settings, {
      abortsMultiparts: rules.some((rule) => rule.AbortIncompleteMultipartUpload !== undefined),
      expiresOldVersions: rules.some((rule) => rule.NoncurrentVersionExpiration !== undefined),
    });
    for (const { setting, level, text } of findings) {
      if (args.flag("json")) terminal.out(JSON.stringify({ type: "finding", uri, setting, level, text }));
      else terminal.out(`${terminal.paint(STYLES[level], level.padEnd(6))}  ${text}`);
    }
    return findings.some(({ level }) => level === "bad") ? EXIT.failure : EXIT.ok;
  },
};

const STYLES = { good: "green", advice: "yellow", bad: "red" } as const;

function changesOf(args: Arguments): SettingChanges {
  const encryption = args.text("encryption");
  const versioning = args.text("versioning");
  const access = args.text("public-access");
  const target = args.text("replicate-to");
  const role = args.text("role");
  const kmsKeyId = args.text("kms-key-id");
  if (kmsKeyId !== undefined && encryption !== "aws:kms")
    throw usageError("s3 bucket", "--kms-key-id belongs to --encryption aws:kms");
  if ((target === undefined) !== (role === undefined))
    throw usageError("s3 bucket", "Replication needs both --replicate-to and --role");
  const replication =
    target === undefined || role === undefined ? undefined : { bucket: parseS3Address(target).bucket, role };
  return {
    encryption: encryption === "AES256" || encryption === "aws:kms" ? encryption : undefined,
    kmsKeyId,
    versioning: versioning === undefined ? undefined : versioning === "on",
    blockPublicAccess: access === undefined ? undefined : access === "blocked",
    replication: args.flag("no-replication") ? null : replication,
  };
}
