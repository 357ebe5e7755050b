/** An upload that the store refuses for good: who is told, and that nothing is lost. */
import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { python } from "../support/python.ts";
import { World, isMounted } from "./harness.ts";

let world: World;
let mount: string;
beforeEach(async () => {
  world = await World.open();
  mount = await world.mount(["--writable"]);
});
afterEach(() => world.close());

test("W12 a refused upload is told by fsync, flush and unmount, shown by status, and kept until it is taken", async () => {
  const refused = world.s3.faults.add({ operation: "PutObject", error: "AccessDenied" });
  const said = await python<string>(
    `
path = args[0]
with open(path, "w") as file:
    file.write("content")
    file.flush()
    answer(name_of(lambda: os.fsync(file.fileno())))`,
    `${mount}/file`,
  );
  expect(said).toBe("EACCES");
  const flush = await world.hawser(["flush", mount]);
  expect(flush.code).not.toBe(0);
  expect(flush.stderr).toContain("access_denied");
  const { stdout } = await world.hawser(["status"]);
  expect(stdout).toMatch(/^\s*file, failed, 7 B, for .*file/m);
  expect(await readFile(`${mount}/file`, "utf8")).toBe("content");
  const unmount = await world.hawser(["unmount", mount]);
  expect(unmount.code).not.toBe(0);
  expect(unmount.stderr).toContain("access_denied");
  refused.remove();
  if (!isMounted(mount)) await world.mount(["--writable"]);
  expect(await readFile(`${mount}/file`, "utf8")).toBe("content");
  expect(await world.hawser(["flush", mount])).toMatchObject({ code: 0 });
  expect(await world.hawser(["unmount", mount])).toMatchObject({ code: 0 });
});
