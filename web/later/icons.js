/* icons.js: the signs of what is loaded later, put beside those that the page has from the beginning. */
import { $ } from '../dom.js';

const SVG = 'http://www.w3.org/2000/svg';
const ICONS = {
  right: [['path', { d: 'M9.5 5l7 7-7 7' }]],
  left: [['path', { d: 'M14.5 5l-7 7 7 7' }]],
  code: [['path', { d: 'M8 7l-5 5 5 5M16 7l5 5-5 5M13.500 5l-3 14' }]],
  grip: [['path', { d: 'M9 6v.01M15 6v.01M9 12v.01M15 12v.01M9 18v.01M15 18v.01' }]],
  pen: [['path', { d: 'M4 20l1-4L16 5l3 3L8 19zM13.500 7.500l3 3' }]],
  copy: [['rect', { x: '8', y: '8', width: '12', height: '12', rx: '2' }], ['path', { d: 'M16 8V4H4v12h4' }]],
  plus: [['path', { d: 'M12 5v14M5 12h14' }]],
  minus: [['path', { d: 'M5 12h14' }]],
  tag: [['path', { d: 'M4 4h8l8.500 8.500-8 8L4 12z' }], ['circle', { cx: '8.500', cy: '8.500', r: '1' }]],
  star: [['path', { d: 'M12 4l2.400 5.200 5.600.6-4.200 3.800 1.200 5.600-5-2.900-5 2.900 1.200-5.600L4 9.800l5.600-.6z' }]],
  film: [['path', { d: 'M4 5h16v14H4zM8 5v14M16 5v14M4 9.500h4M4 14.500h4M16 9.500h4M16 14.500h4' }]],
  lasso: [['path', { d: 'M7 15.500c-5-3-4.500-10 4-11 7-.8 10 3 9 6.500-1.200 4-7 5-11 4M9 15a2 2 0 1 1-3.500 1.300c0 3-.5 3.700-2 4.200' }]],
  wand: [['path', { d: 'M4 20L15 9M17.500 3v5M15 5.500h5M20 12v4M18 14h4M9 3v4M7 5h4' }]],
  edges: [['rect', { x: '8', y: '8', width: '8', height: '8' }], ['path', { d: 'M12 5V2M12 22v-3M5 12H2M22 12h-3M10.500 3.500L12 2l1.500 1.500M10.500 20.500L12 22l1.500-1.500M3.500 10.500L2 12l1.500 1.500M20.500 10.500L22 12l-1.500 1.500' }]],
  hand: [['path', { d: 'M12 3v18M3 12h18M9.500 5.500L12 3l2.500 2.500M9.500 18.500L12 21l2.500-2.500M5.500 9.500L3 12l2.500 2.500M18.500 9.500L21 12l-2.500 2.500' }]],
  eraser: [['path', { d: 'M9 20h11M4.500 14.500l9-9a2 2 0 0 1 2.800 0l3.200 3.200a2 2 0 0 1 0 2.800L11 20H8.500l-4-4a1.100 1.100 0 0 1 0-1.500zM9.500 9.500l6 6' }]],
  invert: [['circle', { cx: '12', cy: '12', r: '8' }], ['path', { d: 'M12 4v16a8 8 0 0 0 0-16z', fill: 'currentColor' }]],
  undo: [['path', { d: 'M9 5L4 10l5 5M4 10h10a6 6 0 0 1 0 10h-3' }]],
  redo: [['path', { d: 'M15 5l5 5-5 5M20 10H10a6 6 0 0 0 0 10h3' }]],
};

function make(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes))
    element.setAttribute(name, value);
  return element;
}

for (const [name, shapes] of Object.entries(ICONS)) {
  const symbol = make('symbol', { id: `i-${name}`, viewBox: '0 0 24 24' });
  symbol.append(...shapes.map(([tag, attributes]) => make(tag, attributes)));
  $('icons').append(symbol);
}
