FROM python:3.13-slim
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir -c constraints.txt './producers[cli]' . && useradd --create-home worker && install -d -o worker /data
USER worker
