"""Equal runs that differ in one thing: trained side by side over seeds, and judged by paired differences."""
