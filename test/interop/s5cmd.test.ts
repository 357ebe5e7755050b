import { writeFile } from "node:fs/promises";

import { expect } from "vitest";

import { pipTools } from "../support/pip-tools.ts";
import { describeCases, runClient, type Case } from "./cases.ts";
import type { InteropServer } from "./servers.ts";
import { digests, inScratch, makeTree } from "./trees.ts";

async function s5cmd(server: InteropServer, ...args: string[]): Promise<string> {
  const tools = await pipTools("s5cmd");
  return runClient(tools.program("s5cmd"), args, server.environment);
}

const CASES: Case[] = [
  {
    name: "s5cmd cp, ls, sync, rm",
    run: (server) =>
      inScratch(async (at) => {
        const tree = await makeTree(at.path("up"));
        const remote = `s3://${server.bucket}/s5`;
        await s5cmd(server, "cp", "--part-size", "5", `${at.path("up")}/`, `${remote}/`);
        const listed = await s5cmd(server, "ls", `${remote}/*`);
        expect(listed.trim().split("\n")).toHaveLength(Object.keys(tree).length);
        await s5cmd(server, "cp", "--part-size", "5", `${remote}/*`, `${at.path("down")}/`);
        expect(await digests(at.path("down"))).toEqual(tree);
        expect(await s5cmd(server, "sync", "--size-only", `${at.path("up")}/`, `${remote}/`)).toBe("");
        await s5cmd(server, "rm", `${remote}/*`);
        await expect(s5cmd(server, "ls", `${remote}/*`)).rejects.toThrow("no object found");
      }),
  },
  {
    name: "s5cmd copies of odd names",
    run: (server) =>
      inScratch(async (at) => {
        const tree = await makeTree(at.path("up"));
        const remote = `s3://${server.bucket}/s5-odd`;
        await s5cmd(server, "cp", `${at.path("up")}/`, `${remote}/`);
        await s5cmd(server, "cp", `${remote}/*`, `${remote}-copy/`);
        await s5cmd(server, "mv", `${remote}-copy/*`, `${remote}-moved/`);
        await s5cmd(server, "sync", `${remote}-moved/*`, `${at.path("down")}/`);
        expect(await digests(at.path("down"))).toEqual(tree);
        await expect(s5cmd(server, "ls", `${remote}-copy/*`)).rejects.toThrow("no object found");
      }),
  },
  {
    name: "s5cmd cat, metadata, presign",
    run: (server) =>
      inScratch(async (at) => {
        await writeFile(at.path("file"), "content");
        const remote = `s3://${server.bucket}/s5 ü+`;
        await s5cmd(server, "cp", "--metadata", "k=v", "--content-type", "a/b", at.path("file"), remote);
        expect(await s5cmd(server, "cat", remote)).toBe("content");
        const answer = await fetch((await s5cmd(server, "presign", remote)).trim());
        expect(await answer.text()).toBe("content");
        expect(answer.headers.get("content-type")).toBe("a/b");
        expect(answer.headers.get("x-amz-meta-k")).toBe("v");
      }),
  },
];

describeCases(CASES);
