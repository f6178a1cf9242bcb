// node take.mjs FOLDER: put Graphviz out of npm's @hpcc-js/wasm-graphviz into FOLDER, as a program and its JavaScript.
// The package starts it while its caller waits. All it waits for is the compiler of WebAssembly: a worker may compile
// at once, so the waiting is cut out here.
import fs from "node:fs";

const folder = process.argv[2];
const source = new URL("node_modules/@hpcc-js/wasm-graphviz/", import.meta.url);

// The program is packed in the text, and unpacked right before it is compiled.
const program = await new Promise((done) => {
  WebAssembly.instantiate = (bytes) => {
    done(bytes);
    return new Promise(() => {});
  };
  import(new URL("dist/index.js", source)).then(({ Graphviz }) => Graphviz.load());
});
fs.writeFileSync(`${folder}/graphviz.wasm`, program);

// One function makes it. Names are the packer's, and differ from one version to the next; the forms do not.
const NAME = "([\\w$]+)";
let text = fs.readFileSync(new URL("dist/index.js", source), "utf8");
const once = (form, put) => {
  const found = [...text.matchAll(new RegExp(form, "g"))];
  if (found.length !== 1) throw new Error(`${found.length} places in @hpcc-js/wasm-graphviz are like ${form}: is it another version?`);
  text = typeof put === "string" ? text.replace(found[0][0], () => put.replace(/\$(\d)/g, (_, n) => found[0][n])) : put(found[0]);
};
let made = "";
const end = `return ${NAME}=await ${NAME}\\(\\),await ${NAME}\\(\\),${NAME}\\}var ${NAME}=${NAME};`;
once(end, (found) => {
  const [whole, exports, create, run, result, , name] = found;
  const start = text.indexOf(`async function ${name}(`);
  made = result;
  if (start < 0) throw new Error("the function that makes Graphviz is not there: is it another version?");
  return `${text.slice(start + "async ".length, found.index)}return ${exports}=${create}(),${run}(),${result}}`;
});
once(
  `async function ${NAME}\\(\\)\\{function ${NAME}\\(${NAME}\\)(\\{return ${NAME}=\\3\\.exports,[^}]*\\})function ${NAME}\\(${NAME}\\)` +
    `\\{return \\2\\(\\7\\.instance\\)\\}var ${NAME}=${NAME}\\(\\);[^;]*;var ${NAME}=await ${NAME}\\([^)]*\\),${NAME}=\\6\\(\\10\\);return \\12\\}`,
  `function $1(){function $2($3)$4return $2(new WebAssembly.Instance(${made}.compiled,$9()))}`,
);
once(`async function ${NAME}\\(\\)\\{${NAME}&&await ${NAME}\\(\\),`, "function $1(){");
fs.writeFileSync(`${folder}/graphviz.js`, `${text}\n`);
