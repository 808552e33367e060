"""`vaekit serve`: an exported or a trained model over HTTP, with requests joined into batches.

command      what a person types                              limits
opening      what is served, from that                        served, trained
listening    a socket, a server, and a graceful stop          connections
guard        what stands before the routes                    exchange, refused
app          the routes                                       reading, answering, schemas, describing
batching     many requests, one computation                   metrics
"""
