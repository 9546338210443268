export const toys = 1;
