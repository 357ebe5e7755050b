/** docs/CONFIG.md, made from the schema: a key that exists is documented, and nothing else is. */
import { jsonSchema } from "./schema.ts";

interface SchemaNode {
  description?: string;
  type?: string | string[];
  enum?: unknown[];
  default?: unknown;
  anyOf?: SchemaNode[];
  properties?: Record<string, SchemaNode>;
  required?: string[];
  items?: SchemaNode;
}

const HEAD = `# hawser.yaml

\`hawser mount --config hawser.yaml\` mounts every volume of the file, \`hawser mount --config hawser.yaml NAME\` one of
them. \`hawser config check\` says every mistake with its line; \`hawser config schema\` prints the JSON Schema for editors.

\`\`\`yaml
volumes:
  - bucket: my-data
    prefix: imagenet
    mount: /data
    cache: { dir: /scratch/cache, size: 500GiB }
    metadataTtl: static
  - bucket: \${RUNS_BUCKET:-my-runs}
    mount: /runs
    endpoint: https://minio.example:9000
    storage: minio
    credentials: { profile: minio }
\`\`\`

\`\${VAR}\` and \`\${VAR:-default}\` are filled in from the environment and from a \`.env\` file beside hawser.yaml; the
environment wins. \`$\${\` stands for a literal \`\${\`. Anchors and merges (\`<<: *base\`) work. Unknown keys are refused.

Sizes are written as \`512MiB\`, \`50G\` or \`500GB\` (one letter is binary), durations as \`30s\`, \`15m\` or \`8h\`,
permissions in octal.

## A volume

| key | values | meaning |
|---|---|---|
`;

/** The text of docs/CONFIG.md. */
export function configReference(): string {
  const volume = (jsonSchema() as { properties: { volumes: SchemaNode } }).properties.volumes.items!;
  return HEAD + rows(volume, "").join("\n") + "\n";
}

function rows(node: SchemaNode, parent: string): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, child]) => {
    const required = node.required?.includes(name) ? " Required." : "";
    const row = `| \`${parent}${name}\` | ${values(child)} | ${(child.description ?? "").replaceAll("|", "\\|")}${required} |`;
    return child.properties ? [row, ...rows(child, `${parent}${name}.`)] : [row];
  });
}

function values(node: SchemaNode): string {
  if (node.properties) return "keys below";
  if (node.enum) return node.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (node.anyOf?.some(({ properties }) => properties)) {
    return node.anyOf
      .map((form) => (form.properties ? `\`{ ${Object.keys(form.properties).join(", ")} }\`` : values(form)))
      .join(", ");
  }
  const types = [node.type ?? node.anyOf?.flatMap(({ type }) => type ?? []) ?? "text"].flat();
  if (types.includes("boolean")) return "`true`, `false`";
  return types.includes("number") || types.includes("integer") ? "number or text" : "text";
}
