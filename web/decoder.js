// A decoder whose tokens are bytes: one token's decode is a script, of which only `ids` and `position` change.

const utf8 = new TextEncoder();

/** The tokens of a text. */
export const encode = (text) => [...utf8.encode(text)];

/** The text of tokens; what is no UTF-8 becomes U+FFFD. */
export const decode = (tokens) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(tokens));

/** Feeds a prompt's tokens and yields `count` new ones, always the likeliest. */
export async function* generate(program, prompt, count) {
  const feed = (token, position) => {
    program.write("ids", Uint32Array.of(token));
    program.write("position", Uint32Array.of(position));
  };
  // nothing waits for what a prompt's tokens but the last would be followed by
  for (const [position, token] of prompt.slice(0, -1).entries()) {
    feed(token, position);
    await program.run();
  }
  let token = prompt.at(-1);
  for (let i = 0; i < count; i++) {
    feed(token, prompt.length - 1 + i);
    [token] = new Uint32Array(await program.run("likeliest", 4));
    yield token;
  }
}
