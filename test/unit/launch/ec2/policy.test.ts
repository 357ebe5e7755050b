import { createPrivateKey } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { explainError } from "../../../../src/launch/ec2/errors.ts";
import { newKeyPair } from "../../../../src/launch/ec2/openssh-key.ts";
import { nodePolicy, userPolicy } from "../../../../src/launch/ec2/policy.ts";
import { resourceName } from "../../../../src/launch/ec2/tags.ts";
import { userData } from "../../../../src/launch/ec2/user-data.ts";
import { tryRun } from "../../../support/run.ts";

test("a read-only prefix can be listed and read, and not written", () => {
  const policy = nodePolicy([{ bucket: "b", prefix: "a/", mode: "read-only" }], "eu-west-1");
  const actions = policy.Statement.flatMap(({ Action }) => Action);
  expect(actions.filter((action) => /Put|Delete|Abort/.test(action))).toEqual([]);
  expect(policy.Statement[0]).toMatchObject({
    Resource: "arn:aws:s3:::b",
    Condition: { StringLike: { "s3:prefix": ["a/*"] } },
  });
});

test("a prefix with the policy's own letters means itself; China has its own partition", () => {
  const policy = nodePolicy([{ bucket: "b", prefix: "a*?/", mode: "writable" }], "cn-north-1");
  expect(policy.Statement[2]!.Resource).toBe("arn:aws-cn:s3:::b/a${*}${?}/*");
});

test("a user may end only what carries our tag", () => {
  const ending = userPolicy().Statement.find(({ Action }) => Action.includes("ec2:TerminateInstances"))!;
  expect(ending.Condition).toEqual({ StringLike: { "aws:ResourceTag/hawser:pool": "*" } });
});

test("ssh-keygen reads the keys that are made", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hawser-key-"));
  const pair = newKeyPair();
  writeFileSync(join(folder, "key"), pair.privateKey, { mode: 0o600 });
  const { stdout } = await tryRun("ssh-keygen", ["-y", "-f", join(folder, "key")]);
  rmSync(folder, { recursive: true });
  expect(stdout.trim().split(" ").slice(0, 2).join(" ")).toBe(pair.publicKey);
  expect(() => createPrivateKey(pair.publicKey)).toThrow();
});

test("user data carries the keys, and a timer that leaves a node with a worker alone", () => {
  const hostKey = newKeyPair();
  const text = userData({
    pool: "train",
    hostKey,
    userKey: "ssh-ed25519 AAAA",
    expiresMs: Date.UTC(2030, 0, 2),
  });
  expect(text).toMatch(/^#cloud-config\n/);
  const boot = parse(text) as {
    ssh_keys: { ed25519_private: string };
    write_files: { content: string }[];
  };
  expect(boot.ssh_keys.ed25519_private).toBe(hostKey.privateKey);
  expect(boot.write_files[0]!.content).toContain(
    "ConditionPathExists=!/var/lib/hawser/pools/train/pool.json",
  );
  expect(boot.write_files[1]!.content).toContain("OnCalendar=2030-01-02 00:00:00 UTC");
  expect(userData({ pool: "train", hostKey, userKey: "k", expiresMs: undefined })).not.toContain(
    "hawser-ttl",
  );
});

test("names of two owners differ, and fit IAM's 64 characters", () => {
  const name = "x".repeat(40);
  const [one, two] = ["11111111-0000", "22222222-0000"].map((id) => resourceName(name, { id }));
  expect(one).not.toBe(two);
  expect(one!.length).toBeLessThanOrEqual(64);
});

test.each([
  [
    "AccessDenied",
    "User: x is not authorized to perform: iam:CreateRole on y",
    "access_denied",
    /iam:CreateRole/,
  ],
  ["UnauthorizedOperation", "You are not authorized", "access_denied", /ec2:CreateFleet/],
  ["AuthFailure", "no", "credentials_invalid", /eu-west-1/],
  ["OptInRequired", "no", "provision_failed", /switched on/],
  ["InvalidAMIID.NotFound", "no", "provision_failed", /image does not exist in eu-west-1/],
  ["InvalidSubnetID.NotFound", "'subnet-1' does not exist.", "provision_failed", /exist; .* is in eu-west-1/],
])("%s is said in our words", (name, message, code, text) => {
  const error = explainError(Object.assign(new Error(message), { name }), "ec2:CreateFleet", "eu-west-1");
  expect(error).toMatchObject({ code, message: text });
});

test("a region that does not exist is told from one that does not answer", () => {
  const failure = (code: string): Error => Object.assign(new Error(code), { code });
  expect(explainError(failure("ENOTFOUND"), "ec2:X", "eu-nowhere-9").code).toBe("wrong_region");
  // No answer about the name is not the answer that there is none.
  expect(explainError(failure("EAI_AGAIN"), "ec2:X", "eu-west-1").code).toBe("endpoint_unreachable");
  expect(explainError(failure("ECONNREFUSED"), "ec2:X", "eu-west-1").code).toBe("endpoint_unreachable");
});
