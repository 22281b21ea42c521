// What is going on, on standard error: one line that is rewritten on a terminal, a line for each step elsewhere.

export function createProgress(stream = process.stderr) {
  const start = performance.now();
  const seconds = (from) => ((performance.now() - from) / 1000).toFixed(0);
  let shown = false;
  const clear = () => {
    if (shown) stream.write("\r\x1b[K");
    shown = false;
  };
  return {
    /** Begins a step; `at` is called with what it is doing, `done` with how it ended. */
    step(name) {
      const from = performance.now();
      let doing = "";
      let timer;
      const draw = () => {
        const line = `${seconds(start)} s  ${name}${doing && `: ${doing}`} (${seconds(from)} s)`;
        stream.write(`\r\x1b[K${line.slice(0, (stream.columns ?? 80) - 1)}`);
        shown = true;
      };
      if (stream.isTTY) {
        draw();
        timer = setInterval(draw, 500);
      } else stream.write(`${seconds(start)} s  ${name}\n`);
      return {
        at: (what) => {
          doing = what;
        },
        done: (how) => {
          clearInterval(timer);
          clear();
          stream.write(`${seconds(start)} s  ${name}: ${how}\n`);
        },
      };
    },
    say(line) {
      clear();
      stream.write(`${line}\n`);
    },
  };
}
