// The browser in words, as far as it tells.

export function browser() {
  const brands = navigator.userAgentData?.brands.filter(({ brand }) => !/not.a.brand/i.test(brand));
  const system = navigator.userAgentData?.platform;
  if (!brands?.length) return navigator.userAgent;
  return `${brands.map(({ brand, version }) => `${brand} ${version}`).join(", ")}${system ? ` on ${system}` : ""}`;
}
