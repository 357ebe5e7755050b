/** Words for a shell of the POSIX kind. */

/** In single quotes nothing is special but the quote itself. */
export function shellQuote(text: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A script for `sh`, as one command of the login's shell, whatever shell that is. */
export function shellScript(script: string, ...args: string[]): string {
  return ["sh", "-c", shellQuote(script), "sh", ...args.map(shellQuote)].join(" ");
}
