"""Custom images and videos: tables, COCO, LabelMe and YTVIS files."""
