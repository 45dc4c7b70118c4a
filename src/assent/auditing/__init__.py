"""How far can this data be trusted?"""
