"""A local page on which one clicks a pixel and sees its kin: `page` shows it, the other modules compute."""
