/** A worker of the demo: reads the files it is told to by their paths, as any program would. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

process.once("message", ({ folder, paths }) => {
  let bytes = 0;
  const sums = paths.map((path) => {
    const content = readFileSync(join(folder, path));
    bytes += content.length;
    return [path, createHash("sha256").update(content).digest("hex")];
  });
  process.send({ bytes, sums }, () => process.exit(0));
});
process.send("ready");
