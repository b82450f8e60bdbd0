# sonopsis without torch: tag, caption and info with the model in the package, as a user without rights.
#     docker build -t sonopsis .
#     docker run --rm -v "$PWD:/data:ro" sonopsis caption street.wav
FROM python:3.11-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --quiet --no-deps --wheel-dir dist . && sh scripts/image.sh /opt/sonopsis dist/*.whl

FROM python:3.11-slim
COPY --from=build /opt/sonopsis /opt/sonopsis
RUN useradd --create-home --uid 1000 listener
USER listener
WORKDIR /data
ENTRYPOINT ["/opt/sonopsis/bin/sonopsis"]
CMD ["--help"]
