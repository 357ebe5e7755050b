/** `hawser config`: checks a file, or prints what editors need to check it while it is written. */
import { loadConfig } from "../../config/file.ts";
import { configReference } from "../../config/reference.ts";
import { jsonSchema } from "../../config/schema.ts";
import { volumeUrl } from "../../config/volume.ts";
import type { Command } from "../command.ts";
import { errorReference } from "../error-reference.ts";
import { usageError } from "../parse.ts";
import { table } from "../table.ts";

export const command: Command = {
  usage: ["check [FILE]", "schema", "reference", "errors"],
  description:
    "check: reads a hawser.yaml (the one in this folder when none is named), says every mistake with its line, and " +
    "lists its volumes. schema: prints the JSON Schema. reference and errors: print all keys, and all error codes, as Markdown.",
  options: {},
  maxPositionals: 2,
  examples: [
    ["config check", "Check ./hawser.yaml"],
    ["config schema > hawser.schema.json", "For '# yaml-language-server: $schema=hawser.schema.json'"],
  ],
  run(args, terminal) {
    const [action, file] = args.positionals;
    if (action === "schema") terminal.out(JSON.stringify(jsonSchema(), null, 2));
    else if (action === "reference") terminal.out(configReference());
    else if (action === "errors") terminal.out(errorReference());
    else if (action === "check") {
      const { volumes } = loadConfig(file ?? "hawser.yaml", terminal.environment);
      const rows = volumes.map((volume) => [volume.name, volumeUrl(volume), volume.mount, volume.mode]);
      for (const line of table(["NAME", "SOURCE", "MOUNT", "MODE"], rows)) terminal.out(line);
    } else throw usageError("config", "Say what to do: check, schema, reference or errors");
    return Promise.resolve();
  },
};
