import { writeFile } from "node:fs/promises";

import { expect } from "vitest";

import { pipTools } from "../support/pip-tools.ts";
import { describeCases, runClient, type Case } from "./cases.ts";
import type { InteropServer } from "./servers.ts";
import { digests, inScratch, makeTree } from "./trees.ts";

async function aws(server: InteropServer, ...args: string[]): Promise<string> {
  const tools = await pipTools("awscli");
  // SeaweedFS leaves a request without an answer now and then; the client sends it again after this, not after a minute.
  return runClient(tools.program("aws"), [...args, "--cli-read-timeout", "5"], server.environment);
}

async function awsJson(server: InteropServer, ...args: string[]): Promise<Record<string, unknown>> {
  return JSON.parse(await aws(server, "s3api", ...args, "--output", "json")) as Record<string, unknown>;
}

const CASES: Case[] = [
  {
    name: "aws sync",
    run: (server) =>
      inScratch(async (at) => {
        const tree = await makeTree(at.path("up"));
        const remote = `s3://${server.bucket}/aws-sync`;
        await aws(server, "s3", "sync", at.path("up"), remote, "--only-show-errors");
        expect(await aws(server, "s3", "sync", at.path("up"), remote)).toBe("");
        const listed = await aws(server, "s3", "ls", "--recursive", `${remote}/`);
        expect(listed.trim().split("\n")).toHaveLength(Object.keys(tree).length);
        await aws(server, "s3", "sync", remote, at.path("down"), "--only-show-errors");
        expect(await digests(at.path("down"))).toEqual(tree);
        await aws(server, "s3", "sync", remote, `${remote}-copy`, "--only-show-errors");
        await aws(server, "s3", "sync", `${remote}-copy`, at.path("copy"), "--only-show-errors");
        expect(await digests(at.path("copy"))).toEqual(tree);
        await aws(server, "s3", "rm", "--recursive", `${remote}-copy`, "--only-show-errors");
        // It ends with 1 when nothing is listed.
        await expect(aws(server, "s3", "ls", "--recursive", `${remote}-copy/`)).rejects.toThrow();
      }),
  },
  {
    name: "aws cp and mv",
    run: (server) =>
      inScratch(async (at) => {
        await writeFile(at.path("file"), "content");
        const remote = `s3://${server.bucket}/aws-cp/ü b+c`;
        await aws(server, "s3", "cp", at.path("file"), remote, "--metadata", "k=v", "--content-type", "a/b");
        await aws(server, "s3", "mv", remote, `${remote} moved`);
        expect(await aws(server, "s3", "cp", `${remote} moved`, "-")).toBe("content");
        await expect(aws(server, "s3", "cp", remote, "-")).rejects.toThrow("404");
        const head = await awsJson(
          server,
          "head-object",
          "--bucket",
          server.bucket,
          "--key",
          "aws-cp/ü b+c moved",
        );
        expect(head).toMatchObject({ ContentType: "a/b", Metadata: { k: "v" }, ContentLength: 7 });
      }),
  },
  {
    name: "aws conditional put",
    run: (server) =>
      inScratch(async (at) => {
        await writeFile(at.path("file"), "content");
        const put = ["put-object", "--bucket", server.bucket, "--key", "aws-if", "--body", at.path("file")];
        await awsJson(server, ...put, "--if-none-match", "*");
        await expect(awsJson(server, ...put, "--if-none-match", "*")).rejects.toThrow("PreconditionFailed");
      }),
  },
  {
    name: "aws checksums and tags",
    run: (server) =>
      inScratch(async (at) => {
        await writeFile(at.path("file"), "content");
        const object = ["--bucket", server.bucket, "--key", "aws-sum"];
        const body = ["--body", at.path("file"), "--checksum-algorithm", "SHA256", "--tagging", "a=b"];
        const put = await awsJson(server, "put-object", ...object, ...body);
        const head = await awsJson(server, "head-object", ...object, "--checksum-mode", "ENABLED");
        expect(head["ChecksumSHA256"]).toBe(put["ChecksumSHA256"]);
        expect(await awsJson(server, "get-object-tagging", ...object)).toMatchObject({
          TagSet: [{ Key: "a", Value: "b" }],
        });
      }),
  },
  {
    name: "aws presign",
    run: (server) =>
      inScratch(async (at) => {
        await writeFile(at.path("file"), "content");
        const remote = `s3://${server.bucket}/aws presign+ü`;
        await aws(server, "s3", "cp", at.path("file"), remote, "--only-show-errors");
        // Asked for nothing, this client signs URLs with version 2, which S3 takes for no bucket made since 2020.
        await writeFile(at.path("config"), "[default]\ns3 =\n  signature_version = s3v4\n");
        const environment = { ...server.environment, AWS_CONFIG_FILE: at.path("config") };
        const url = (await aws({ ...server, environment }, "s3", "presign", remote)).trim();
        expect(await (await fetch(url)).text()).toBe("content");
      }),
  },
];

describeCases(CASES, { concurrent: true });
