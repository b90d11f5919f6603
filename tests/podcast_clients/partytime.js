// podcast-partytime, the parser of the Podcast Index, over a feed on standard input: prints what it understood as JSON.
import { readFileSync } from "node:fs";
import partytime from "podcast-partytime";

const parsed = partytime.parseFeed(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(parsed ?? null));
