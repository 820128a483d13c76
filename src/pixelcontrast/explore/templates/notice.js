// Says what was wrong, from `props.value`; goes on a press, or by itself when it was there long enough to read.
const notice = element.querySelector(".notice");
let timer;

function hide() {
  clearTimeout(timer);
  notice.hidden = true;
}

function show() {
  if (!props.value?.text) return hide();
  notice.textContent = props.value.text;
  notice.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(hide, 20000);
}

notice.addEventListener("click", hide);
watch("value", show);
