"""Objectives as formulas: what a preference loss says, its place among the others, and new ones from a line of logic."""

from assent.logic.compiled import Logic
from assent.logic.cores import CORES, Core, core_of
from assent.logic.decompile import decompile
from assent.logic.formula import Structure, parse_structure, read
from assent.logic.program import Program, program
from assent.logic.tables import Table, counter, covers, equivalent, name_of, named, same_function
from assent.logic.wording import equation, formula, text_of

__all__ = [
    "CORES",
    "Core",
    "Logic",
    "Program",
    "Structure",
    "Table",
    "core_of",
    "counter",
    "covers",
    "decompile",
    "equation",
    "equivalent",
    "formula",
    "name_of",
    "named",
    "parse_structure",
    "program",
    "read",
    "same_function",
    "text_of",
]
