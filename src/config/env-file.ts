/** The `.env` file beside hawser.yaml: variables for this configuration, below the environment's own. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseEnv } from "node:util";
import { HawserError } from "../common/errors.ts";
import type { Environment } from "./interpolate.ts";

/**
 * The environment with what `.env` adds. A variable that is set, even to nothing, wins over the file.
 *
 * @throws HawserError `config_invalid` when the file exists and cannot be read
 */
export function environmentBeside(configPath: string, environment: Environment): Environment {
  const path = join(dirname(configPath), ".env");
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR") return environment;
    throw new HawserError("config_invalid", `${path} cannot be read (${code}); check its permissions.`, {
      cause: error,
    });
  }
  return { ...parseEnv(text), ...environment };
}
