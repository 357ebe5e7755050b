/** docs/ERRORS.md, made from the codes: one that exists is documented, and nothing else is. */
import { ERROR_CODES } from "../common/errors.ts";
import type { ErrorCode } from "../common/errors.ts";
import { EXIT, EXIT_MEANINGS, exitName } from "./exit-codes.ts";

const HEAD = `# Errors

Every failure has a stable code. The library rejects with a \`HawserError\` whose \`code\` is one of these (and, where the
store said no, with \`s3Code\`, \`httpStatus\`, \`requestId\`, \`bucket\` and \`key\`); the program prints the code in brackets
behind the message and ends with the exit code of its kind. A message says what happened, to what, and what to do;
\`--verbose\` or \`HAWSER_DEBUG=1\` adds the stack. A new version may add codes; it does not rename or remove one.

\`\`\`js
import { HawserError, mount } from "hawser";
try {
  await mount({ bucket: "my-data", mount: "/data" });
} catch (error) {
  if (HawserError.is(error, "mount_point_busy")) console.log("already there");
  else throw error;
}
\`\`\`

What reaches a program that reads files from a mount is an errno, not a code: see SEMANTICS.md.

## Exit codes

| exit code | meaning |
|---|---|
`;

/** The text of docs/ERRORS.md. */
export function errorReference(): string {
  const exits = (Object.keys(EXIT) as (keyof typeof EXIT)[]).map(
    (name) => `| ${EXIT[name]} | ${EXIT_MEANINGS[name]} |`,
  );
  const codes = (Object.keys(ERROR_CODES) as ErrorCode[]).map(
    (code) => `| \`${code}\` | ${ERROR_CODES[code]} | ${EXIT[exitName(code)]} |`,
  );
  return [
    HEAD + exits.join("\n"),
    "",
    "`/sbin/mount.hawser` ends as mount(8) wants it: 0 done, 1 usage, 8 interrupted, 32 the mount failed.",
    "",
    "## Codes",
    "",
    "| code | meaning | exit code |",
    "|---|---|---|",
    ...codes,
    "",
  ].join("\n");
}
