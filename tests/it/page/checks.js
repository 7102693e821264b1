// Measurements of the page for the tests.
window.checks = {
  /** Words that are spread over two lines although a line has room for them. */
  brokenWords() {
    const broken = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const parent = node.parentElement;
      if (parent.closest('script, style, [hidden], select, code') || !parent.getClientRects().length) continue;
      for (const { 0: word, index } of node.data.matchAll(/[^\s-]+/g)) {
        const range = document.createRange();
        range.setStart(node, index);
        range.setEnd(node, index + word.length);
        const rects = [...range.getClientRects()].filter(({ width }) => width > 0);
        const lines = new Set(rects.map(({ top }) => Math.round(top)));
        const width = rects.reduce((sum, rect) => sum + rect.width, 0);
        let block = parent;
        while (getComputedStyle(block).display === 'inline') block = block.parentElement;
        // On a phone half of the screen is room for a word.
        const room = Math.max(block.clientWidth, innerWidth < 600 ? innerWidth / 2 : 0);
        if (lines.size > 1 && width < room) broken.push(word);
      }
    }
    return broken;
  },

  /** Texts of rows, of the columns that matter, that are cut off. */
  cutTexts() {
    const texts = document.querySelectorAll('.row :is(.name, .count, .state, .session, .acked, .age) .text, .head button');
    return [...texts].filter((text) => text.getClientRects().length && text.scrollWidth > text.clientWidth + 1 && getComputedStyle(text).display !== 'inline')
      .map((text) => text.textContent);
  },

  layout() {
    const { scrollWidth, scrollHeight } = document.documentElement, tree = document.querySelector('#tree');
    const right = Math.max(...[...document.querySelectorAll('main *, header *')].filter((one) => !one.closest('.tree, .offscreen, svg')).map((one) => one.getBoundingClientRect().right));
    return {
      overflows: scrollWidth > innerWidth || right > innerWidth + .5 || tree.scrollWidth > tree.clientWidth,
      height: scrollHeight,
      used: Math.round(document.querySelector('main').getBoundingClientRect().width),
      broken: this.brokenWords(),
      cut: innerWidth >= 1024 ? this.cutTexts() : [],
      rows: document.querySelectorAll('.row').length,
    };
  },
};
