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
  additionalProperties?: SchemaNode | boolean;
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

const TABLE = `| key | values | meaning |
|---|---|---|
`;

const POOL_HEAD = `
## \`pool:\`

The machines that \`hawser pool\` starts or uses; POOLS.md says how. The volumes are mounted on every one of them.

\`\`\`yaml
pool:
  name: train
  hosts: [ubuntu@10.0.0.5, ubuntu@10.0.0.6]
  ttl: 8h
workdir: .
setup: [pip install -r requirements.txt]
job: torchrun train.py --data /data --out /out
\`\`\`

${TABLE}`;

const TASK_HEAD = `
## What the pool does

Beside \`pool:\`, at the top of the file.

${TABLE}`;

/** The text of docs/CONFIG.md. */
export function configReference(): string {
  const { volumes, pool, ...task } = (jsonSchema() as { properties: Record<string, SchemaNode> }).properties;
  return [
    HEAD + rows(volumes!.items!, "").join("\n"),
    POOL_HEAD + rows(pool!, "").join("\n"),
    TASK_HEAD + rows({ properties: task }, "").join("\n"),
    "",
  ].join("\n");
}

function rows(node: SchemaNode, parent: string): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, child]) => {
    const required = node.required?.includes(name) ? " Required." : "";
    const row = `| \`${parent}${name}\` | ${values(child)} | ${(child.description ?? "").replaceAll("|", "\\|")}${required} |`;
    if (child.items?.properties) return [row, ...rows(child.items, `${parent}${name}[].`)];
    return child.properties ? [row, ...rows(child, `${parent}${name}.`)] : [row];
  });
}

function values(node: SchemaNode): string {
  if (node.properties) return "keys below";
  if (node.items) return node.items.properties ? "list, keys below" : "list";
  if (node.additionalProperties) return "names and their values";
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
