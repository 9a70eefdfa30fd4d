import { defineConfig } from 'vite'

// Everything lands under dist/assets with its hash in the name, so that it may be kept for ever, and index.html beside it.
export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    outDir: 'dist',
    emptyOutDir: true,
    assetsInlineLimit: 0, // the policy of the page allows no inline script, and one rule is easier than two
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
})
