from ZODB.DB import DB as DB
