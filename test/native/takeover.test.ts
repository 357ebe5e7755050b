import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { native } from "../../src/common/native.ts";
import { MemoryFilesystem } from "../support/memory-filesystem.ts";
import { SparseContent } from "../support/sparse-content.ts";
import { outcome, overriding, python, ServedHere, signalOnce } from "./serve-here.ts";

const program = fileURLToPath(new URL("resume-child.mjs", import.meta.url));

it("another process that holds the connection takes it over, and a reader notices nothing", async () => {
  const asked = signalOnce();
  const memory = new MemoryFilesystem({ directIo: true });
  memory.tree.add(memory.tree.root, "file", { type: "file", content: new SparseContent(6, 1) });
  const filesystem = overriding(memory, {
    read() {
      asked.fire();
      return new Promise(() => {});
    },
  });
  const mount = await ServedHere.start(filesystem);
  if (!mount.settings.resend) {
    await mount[Symbol.asyncDispose]();
    return;
  }
  const reader = outcome(
    python("print(os.read(os.open(sys.argv[1], 0), 100).decode())", `${mount.path}/file`),
  );
  await asked.promise;

  const next = spawn(process.execPath, [program, mount.path, JSON.stringify(mount.settings)], {
    stdio: ["pipe", "pipe", "inherit", mount.channel.fd],
  });
  const ended = outcome(next);
  await once(next.stdout!, "data");
  mount.channel.handOver();
  next.stdin!.write("go\n");

  expect(await reader).toMatchObject({ code: 0, stdout: "second\n" });
  await native().unmount(mount.path, 2);
  expect(await ended).toMatchObject({ code: 0 });
  await mount[Symbol.asyncDispose]();
});
