// The page's language: `?lang=es` chooses it, else the browser does. Each has one catalog of strings,
// strings.*.json; those of the curves are in curves.*.json, next to curves.js, which reports use too.

const LANGUAGES = ["en", "es"];

const wanted = [new URLSearchParams(location.search).get("lang"), ...navigator.languages.map((tag) => tag.split("-")[0])];
export const language = wanted.find((each) => LANGUAGES.includes(each)) ?? "en";
export const otherLanguage = LANGUAGES.find((each) => each !== language);

const read = async (name) => (await fetch(new URL(`${name}.${language}.json`, import.meta.url))).json();
const strings = Object.assign({}, ...(await Promise.all(["strings", "curves"].map(read))));
const plurals = new Intl.PluralRules(language);
const lists = new Intl.ListFormat(language);

const formats = {}; // by options; making one takes longer than using it

/** A number as the language writes it. */
export function number(value, options) {
  const format = (formats[JSON.stringify(options)] ??= new Intl.NumberFormat(language, options));
  return format.format(value);
}

export const significant = (value, digits) => number(value, { maximumSignificantDigits: digits });
export const decimal = (value, digits) => number(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const percent = (fraction, digits = 1) => `${decimal(100 * fraction, digits)} %`;
export const inWords = (names) => lists.format(names);

/** The string of a key, with values in place of `{names}`; `count` chooses among plural forms. */
export function t(key, values = {}) {
  const string = strings[key];
  const text = string[plurals.select(values.count ?? 0)] ?? string.other ?? string;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}

/** Fill what index.html marks: `data-i18n` is an element's text, `data-i18n-title` its title and so on. */
function translatePage() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-i18n]")) node.innerHTML = t(node.dataset.i18n); // may have markup, never values
  for (const name of ["aria-label", "title", "alt"]) {
    for (const node of document.querySelectorAll(`[data-i18n-${name}]`)) node.setAttribute(name, t(node.getAttribute(`data-i18n-${name}`)));
  }
}

translatePage();
