/** `${VAR}` and `${VAR:-default}` in the values of hawser.yaml. */

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Interpolated {
  text: string;
  /** Variables that were asked for, have no value and no default. */
  missing: string[];
}

/**
 * Replaces each `${VAR}` once; what a variable holds is not looked at again, so a value cannot smuggle in another.
 * As in the shell, `:-` also takes the default when the variable is empty. `$${` stands for a literal `${`.
 */
export function interpolate(text: string, environment: Environment): Interpolated {
  const missing: string[] = [];
  const pattern = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g;
  const replaced = text.replace(pattern, (whole, name: string | undefined, fallback: string | undefined) => {
    if (name === undefined) return "${";
    const value = environment[name];
    if (fallback !== undefined) return value === undefined || value === "" ? fallback : value;
    if (value === undefined) missing.push(name);
    return value ?? whole;
  });
  return { text: replaced, missing };
}
