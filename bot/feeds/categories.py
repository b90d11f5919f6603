"""Apple's podcast categories (Podcaster's guide to RSS, `itunes:category`). Pure."""

from difflib import get_close_matches
from typing import NamedTuple

LONGEST_NAME = 80
"""Longest text that is compared with the names: comparing takes quadratic time."""


class Category(NamedTuple):
    """A category, or a subcategory of one."""

    name: str
    subcategory: str | None = None

    def __str__(self) -> str:
        """Return it as `find` reads it."""
        return f"{self.name} > {self.subcategory}" if self.subcategory else self.name


CATEGORIES: dict[str, tuple[str, ...]] = {
    "Arts": ("Books", "Design", "Fashion & Beauty", "Food", "Performing Arts", "Visual Arts"),
    "Business": ("Careers", "Entrepreneurship", "Investing", "Management", "Marketing", "Non-Profit"),
    "Comedy": ("Comedy Interviews", "Improv", "Stand-Up"),
    "Education": ("Courses", "How To", "Language Learning", "Self-Improvement"),
    "Fiction": ("Comedy Fiction", "Drama", "Science Fiction"),
    "Government": (),
    "Health & Fitness": ("Alternative Health", "Fitness", "Medicine", "Mental Health", "Nutrition", "Sexuality"),
    "History": (),
    "Kids & Family": ("Education for Kids", "Parenting", "Pets & Animals", "Stories for Kids"),
    "Leisure": ("Animation & Manga", "Automotive", "Aviation", "Crafts", "Games", "Hobbies", "Home & Garden",
                "Video Games"),
    "Music": ("Music Commentary", "Music History", "Music Interviews"),
    "News": ("Business News", "Daily News", "Entertainment News", "News Commentary", "Politics", "Sports News",
             "Tech News"),
    "Religion & Spirituality": ("Buddhism", "Christianity", "Hinduism", "Islam", "Judaism", "Religion",
                                "Spirituality"),
    "Science": ("Astronomy", "Chemistry", "Earth Sciences", "Life Sciences", "Mathematics", "Natural Sciences",
                "Nature", "Physics", "Social Sciences"),
    "Society & Culture": ("Documentary", "Personal Journals", "Philosophy", "Places & Travel", "Relationships"),
    "Sports": ("Baseball", "Basketball", "Cricket", "Fantasy Sports", "Football", "Golf", "Hockey", "Rugby",
               "Running", "Soccer", "Swimming", "Tennis", "Volleyball", "Wilderness", "Wrestling"),
    "Technology": (),
    "True Crime": (),
    "TV & Film": ("After Shows", "Film History", "Film Interviews", "Film Reviews", "TV Reviews"),
}  # fmt: skip


def find(text: str) -> Category | None:
    """Look up `Arts`, `Design` or `Arts > Design`, in any case; None when Apple has no such category."""
    wanted = [part.strip().casefold() for part in text.split(">")]
    for name, subcategories in CATEGORIES.items():
        if wanted == [name.casefold()]:
            return Category(name)
        for subcategory in subcategories:
            if wanted in ([subcategory.casefold()], [name.casefold(), subcategory.casefold()]):
                return Category(name, subcategory)
    return None


def nearest(text: str) -> Category | None:
    """Return the category with the most similar name; None where no name resembles the text."""
    names = {str(category).casefold(): category for category in _all()}
    names |= {category.subcategory.casefold(): category for category in _all() if category.subcategory}
    close = get_close_matches(text.strip().casefold()[:LONGEST_NAME], names, n=1)
    return names[close[0]] if close else None


def _all() -> tuple[Category, ...]:
    return tuple(
        Category(name, subcategory)
        for name, subcategories in CATEGORIES.items()
        for subcategory in (None, *subcategories)
    )
