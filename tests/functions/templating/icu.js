// Numbers and amounts as ICU writes them, for test_figures.py: a question on stdin, the answer on stdout, both JSON.
const asked = JSON.parse(require("fs").readFileSync(0));
const how = { roundingMode: "halfExpand", signDisplay: "negative", useGrouping: "always" };
const two = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
const told = {};
for (const locale of asked.locales) {
  if (!Intl.NumberFormat.supportedLocalesOf([locale]).length) continue;
  const latin = `${locale}-u-nu-latn`;
  const written = (options) => {
    const format = new Intl.NumberFormat(latin, { ...how, ...options });
    return asked.numbers.map((each) => format.format(each));
  };
  told[locale] = { number: written(two) };
  for (const currency of asked.currencies) told[locale][currency] = written({ style: "currency", currency });
}
console.log(JSON.stringify(told));
