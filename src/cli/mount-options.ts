/**
 * The options of mount(8) and fstab, as the options of `hawser mount`.
 *
 * Every option of the command is known under its own name, with `_` or `-`: `cache_dir=/scratch`, `allow_other`. What
 * mount(8) and systemd add for themselves is passed over; a name that nobody knows is refused, because a misspelt
 * option that is ignored is found out too late.
 */
import { HawserError } from "../common/errors.ts";
import { didYouMean } from "../config/suggest.ts";
import type { Options } from "./command.ts";

/** For mount(8), libmount and systemd; none of them changes what is mounted. */
const PASSED_OVER = new Set([
  "async",
  "atime",
  "auto",
  "defaults",
  "dev",
  "diratime",
  "exec",
  "group",
  "noatime",
  "noauto",
  "nodev",
  "nodiratime",
  "nofail",
  "norelatime",
  "nosuid",
  "nouser",
  "owner",
  "relatime",
  "rw",
  "suid",
  "user",
  "users",
  "_netdev",
]);

/** Command-line arguments for a comma-separated list of options. @throws HawserError `invalid_argument` */
export function argumentsFor(list: string, options: Options, { sloppy }: { sloppy: boolean }): string[] {
  return splitOptions(list).flatMap((entry) => {
    const at = entry.indexOf("=");
    const name = at < 0 ? entry : entry.slice(0, at);
    const value = at < 0 ? undefined : entry.slice(at + 1);
    if (name === "ro") return ["--read-only"];
    if (PASSED_OVER.has(name) || name.startsWith("x-") || name.startsWith("comment")) return [];
    const flag = name.replaceAll("_", "-");
    const option = Object.hasOwn(options, flag) ? options[flag] : undefined;
    if (!option) {
      if (sloppy) return [];
      const known = Object.keys(options).map((key) => key.replaceAll("-", "_"));
      throw new HawserError(
        "invalid_argument",
        `-o ${name} is not an option of Hawser${didYouMean(name, known) || "; see 'hawser mount --help'."}`,
      );
    }
    if (option.type === "boolean") return [`--${flag}`];
    if (value === undefined) throw new HawserError("invalid_argument", `-o ${name} needs a value: ${name}=…`);
    return [`--${flag}=${value}`];
  });
}

/** Splits at commas, except inside double quotes, as libmount does. */
function splitOptions(list: string): string[] {
  return (list.match(/(?:"[^"]*"|[^,"])+/g) ?? [])
    .map((entry) => entry.replaceAll('"', "").trim())
    .filter((entry) => entry !== "");
}
