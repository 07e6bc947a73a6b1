// Numbers, times and sizes as people read them.

const COUNT = new Intl.NumberFormat("en-US");
const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];
const SPANS = [
  [60, 1, "s"],
  [3600, 60, "min"],
  [86400, 3600, "h"],
  [Infinity, 86400, "d"],
];

// A score or a margin with two places, or what is asked for; a dash where there is none. What
// would round to nothing keeps its first digit: 0.0004 is not 0.
export function score(value, places = 2) {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(places);
  return value > 0 && Number(text) === 0 ? value.toPrecision(1) : text;
}

// All places that there are, at most six: for figures that decide.
export function exact(value) {
  return value === null || value === undefined ? "–" : String(Number(value.toFixed(6)));
}

// An integer with separators.
export function count(value) {
  return COUNT.format(value);
}

// "1 passage", "2 passages".
export function many(value, one, several = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : several}`;
}

// A size in binary units.
export function bytes(value) {
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : count(Math.round(value))} ${UNITS[unit]}`;
}

// A length of time, from seconds: "42 s", "3 min", "5 h", "2 d".
export function span(seconds) {
  const [, size, unit] = SPANS.find(([limit]) => seconds < limit);
  return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
}

// How long ago an ISO time was.
export function ago(iso) {
  return `${span((Date.now() - Date.parse(iso)) / 1000)} ago`;
}

// An ISO time as local date and time, by seconds: 2026-03-09 14:05:33.
export function time(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return String(iso);
  const two = (value) => String(value).padStart(2, "0");
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  return `${day} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":")}`;
}

// Why a batch made no pair, for people; "pair" and "open" too.
export function outcome(name) {
  return OUTCOMES[name] ?? String(name).replaceAll("_", " ");
}

const OUTCOMES = {
  unscored: "too few scores",
  identical_answers: "same answers",
  margin_too_small: "margin too small",
  chosen_too_low: "best score too low",
  chosen_defect: "best answer has a defect",
  no_defect: "no known defect",
  length_ratio: "lengths too different",
};

// What is wrong with an answer, for people.
export function defect(name) {
  return DEFECTS[name] ?? String(name).replaceAll("_", " ");
}

const DEFECTS = {
  unsupported: "says what the passages do not",
  unsupported_number: "has a number that the passages do not",
  unsupported_name: "has a name that the passages do not",
  other_subject: "says it of something else",
  contradiction: "contradicts the passages",
  off_topic: "does not answer the question",
  echo: "repeats the question",
  incomplete: "leaves a part unanswered",
  refusal: "declines, though the passages answer",
  dump: "copies a passage",
  wrong: "is not what was asked for",
};

// Places in a text are counted in characters by the server and in UTF-16 units here: cut by the
// server's. Returns [before, within, after].
export function cut(text, start, end) {
  const characters = Array.from(text);
  return [
    characters.slice(0, start).join(""),
    characters.slice(start, end).join(""),
    characters.slice(end).join(""),
  ];
}
