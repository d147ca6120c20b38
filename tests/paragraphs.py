"""A paragraph in English and its beginning in German, by which decoders are compared."""

LIBRARY = (
    "The library stood at the corner of the square, a low brick building with tall windows. On Saturday "
    "mornings it filled with children, who came for the picture books and stayed for the warmth. An old man "
    "read the newspapers by the door and complained about the price of bread. In winter the radiators "
    "knocked all day, and the librarian, who had worked there for thirty years, no longer heard them. When "
    "the council decided to close it, more than two thousand people signed a letter, and the mayor changed "
    "his mind."
)
BIBLIOTHEK = (
    "Die Bibliothek stand an der Ecke des Platzes, ein niedriges Gebäude aus Backstein mit hohen Fenstern. "
    "Am Samstagmorgen füllte sie sich mit Kindern, die wegen der Bilderbücher kamen."
)
