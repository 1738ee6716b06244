/** Light or dark: what was chosen in this browser, else what the system says. */
import { effect, signal } from "@preact/signals";
import { storage } from "../services/storage";

export type Theme = "light" | "dark";

const system: Theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
export const theme = signal<Theme>(storage.theme() === "dark" ? "dark" : storage.theme() === "light" ? "light" : system);

effect(() => {
  document.documentElement.dataset["theme"] = theme.value;
});

export function turnTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  storage.setTheme(theme.value);
}
