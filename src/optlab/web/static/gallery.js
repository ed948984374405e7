// Test images that only one optimizer gets wrong or right; a click puts one on the canvas.

import { make } from "./answers.js";
import { readGallery } from "./api.js";
import { t } from "./i18n.js";

const $ = (id) => document.getElementById(id);
let shown = {}; // name and state of the study whose gallery was asked for last

/**
 * @param {string} state is equal while the study is
 * @param {object} study its entry of /api/models  @param {object} styles by optimizer
 * @param {(file: File) => void} open puts a picture on the canvas
 */
export async function showGallery(study, styles, state, open) {
  if (shown.state === state && !$("gallery").hidden) return;
  if (shown.name !== study.name) $("gallery").hidden = true;
  const asked = (shown = { name: study.name, state });
  const gallery = await readGallery(study.name).catch(() => null);
  if (shown !== asked) return; // another study was chosen in the meantime
  if (!gallery) {
    shown = {}; // to be asked again when something changes
    return;
  }
  const title = (name) => styles[name]?.title ?? name;
  const groups = gallery.groups.filter(({ images }) => images.length);
  $("gallery").hidden = !groups.length;
  $("gallery-groups").replaceChildren(
    ...groups.map(({ optimizer, only, num_images: count, images }) => {
      const dot = make("i");
      dot.style.setProperty("--voice", styles[optimizer]?.color);
      const more = t(count > images.length ? "gallery.shown" : "gallery.count", { count, shown: images.length });
      const heading = make("h3", "", dot, t(`gallery.${only}`, { name: title(optimizer) }), make("small", "", more));
      return make("div", "", heading, make("div", "gallery-images", ...images.map((image) => button(image, study.class_names, title, open))));
    }),
  );
  $("gallery-left-out").hidden = !gallery.left_out.length;
  $("gallery-left-out").textContent = t("gallery.without", { names: gallery.left_out.map(title).join(", ") });
}

function button({ image, true: truth, answers, png }, names, title, open) {
  const said = Object.entries(answers).map(([optimizer, answer]) => `${title(optimizer)} ${names[answer]}`).join(", ");
  const picture = Object.assign(make("img"), { src: `data:image/png;base64,${png}`, alt: t("gallery.image", { image: String(image), name: names[truth], answers: said }) });
  const node = make("button", "", picture, make("span", "", names[truth]));
  node.type = "button";
  node.title = `${names[truth]}. ${said}`;
  node.addEventListener("click", () => {
    const bytes = Uint8Array.from(atob(png), (char) => char.charCodeAt(0));
    open(new File([bytes], `test-${image}.png`, { type: "image/png" }));
    document.querySelector(".stage").scrollIntoView();
    $("pad").focus({ preventScroll: true });
  });
  return node;
}
