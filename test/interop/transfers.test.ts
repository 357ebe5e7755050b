/**
 * What `hawser s3` and `hawser checkpoint` upload is read back by boto3 and the AWS CLI, and the reverse, from every server:
 * by both engines, in one PUT and in parts, with names that each quotes in its own way.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runProgram, PROGRAM } from "../e2e/harness.ts";
import { distributed, huggingFace, place } from "../unit/transfer/checkpoint/layouts.ts";
import { pipTools } from "../support/pip-tools.ts";
import { runClient } from "./cases.ts";
import { MOTO, SERVER_NAMES, startServer } from "./servers.ts";
import type { InteropServer } from "./servers.ts";
import { MIB, digests, inScratch, makeTree } from "./trees.ts";
import type { Scratch } from "./trees.ts";

/** Downloads all below a prefix, or uploads a folder, by boto3's own managed transfers. */
const BOTO3 = `
import boto3, os, sys
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
s3 = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
how, bucket, prefix, folder = sys.argv[1:]
parts = TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20)
if how == "up":
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            s3.upload_file(path, bucket, prefix + os.path.relpath(path, folder), Config=parts)
else:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            path = os.path.join(folder, entry["Key"][len(prefix):])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            s3.download_file(bucket, entry["Key"], path, Config=parts)
`;

describe.each([...SERVER_NAMES, MOTO] as const)("%s", (name) => {
  let server: InteropServer;
  beforeAll(async () => void (server = await startServer(name)));
  afterAll(() => server?.close());

  const uri = (prefix: string): string => `s3://${server.bucket}/${prefix}`;

  async function hawser(at: Scratch, ...args: string[]): Promise<string> {
    const env = { ...server.environment, HAWSER_STATE_DIR: at.path("state"), HOME: at.folder };
    const { code, stdout, stderr } = await runProgram(process.execPath, [PROGRAM, ...args], {
      env,
      timeoutMs: 120_000,
    });
    expect(code, `hawser ${args.join(" ")}: ${stderr}`).toBe(0);
    return stdout;
  }

  async function aws(...args: string[]): Promise<string> {
    const tools = await pipTools("awscli");
    return await runClient(tools.program("aws"), ["s3", ...args, "--only-show-errors"], server.environment);
  }

  async function boto3(how: "up" | "down", prefix: string, folder: string): Promise<void> {
    const tools = await pipTools("boto3");
    await runClient(
      tools.program("python"),
      ["-c", BOTO3, how, server.bucket, prefix, folder],
      server.environment,
    );
  }

  test.each(["lean", "sdk"])("what the %s engine uploads is read by boto3 and the AWS CLI", (engine) =>
    inScratch(async (at) => {
      await makeTree(at.path("tree"));
      const wanted = await digests(at.path("tree"));
      const prefix = `up-${engine}/`;
      await hawser(
        at,
        "s3",
        "cp",
        "-r",
        "--engine",
        engine,
        "--part-size",
        "5MiB",
        at.path("tree"),
        uri(prefix),
      );
      await aws("sync", uri(prefix), at.path("aws"));
      expect(await digests(at.path("aws"))).toEqual(wanted);
      await boto3("down", prefix, at.path("boto3"));
      expect(await digests(at.path("boto3"))).toEqual(wanted);
    }),
  );

  test.each(["lean", "sdk"])(
    "what boto3 and the AWS CLI upload is read by the %s engine, and is the same to sync",
    (engine) =>
      inScratch(async (at) => {
        await makeTree(at.path("tree"));
        const wanted = await digests(at.path("tree"));
        for (const [client, prefix] of [
          ["aws", `aws-${engine}/`],
          ["boto3", `boto3-${engine}/`],
        ] as const) {
          if (client === "aws") await aws("cp", "--recursive", at.path("tree"), uri(prefix));
          else await boto3("up", prefix, at.path("tree"));
          const down = at.path(`down-${client}`);
          await hawser(at, "s3", "cp", "-r", "--engine", engine, "--part-size", "5MiB", uri(prefix), down);
          expect(await digests(down), client).toEqual(wanted);
          const again = await hawser(at, "s3", "sync", "--json", "--checksum", at.path("tree"), uri(prefix));
          expect(JSON.parse(again.trim().split("\n").at(-1)!), client).toMatchObject({
            uploaded: 0,
            failed: 0,
          });
        }
      }),
  );

  test("streams, copies on the server, and what was removed are as the AWS CLI sees them", () =>
    inScratch(async (at) => {
      const file = at.path("big");
      await writeFile(file, Buffer.alloc(11 * MIB, 5));
      await hawser(at, "s3", "cp", "--part-size", "5MiB", file, uri("made/big"));
      await hawser(at, "s3", "cp", uri("made/big"), uri("made/copy ü+"));
      await hawser(at, "s3", "mv", uri("made/copy ü+"), uri("made/moved"));
      await hawser(at, "s3", "cp", file, uri("made/gone"));
      await hawser(at, "s3", "rm", uri("made/gone"));
      await aws("sync", uri("made/"), at.path("aws"));
      const sums = await digests(at.path("aws"));
      expect(Object.keys(sums).sort()).toEqual(["big", "moved"]);
      expect(sums["moved"]).toBe(sums["big"]);
    }));

  test("checkpoints that were pushed and pruned are whole to others, and theirs to pull", () =>
    inScratch(async (at) => {
      place(at.path("out"), { ...huggingFace(10), ...distributed(20), ...distributed(30) });
      const run = uri("run");
      await hawser(at, "checkpoint", "push", at.path("out"), run, "--then-prune", "--keep-last-n", "2");
      await aws("sync", run, at.path("aws"));
      const wanted = await digests(at.path("out"));
      const kept = Object.fromEntries(
        Object.entries(wanted).filter(([path]) => !path.startsWith("checkpoint-10/")),
      );
      expect(await digests(at.path("aws"))).toEqual(kept);
      await aws("cp", "--recursive", join(at.path("out"), "checkpoint-10"), `${uri("theirs")}/checkpoint-10`);
      const pulled = (await hawser(at, "checkpoint", "pull", uri("theirs"), at.path("here"))).trim();
      expect(await digests(pulled)).toEqual(await digests(join(at.path("out"), "checkpoint-10")));
    }));
});
